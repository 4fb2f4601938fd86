SELECT * FROM metric_targets WHERE revision > $1 ORDER BY revision
