DELETE FROM compactions WHERE span = $1 AND start >= $2 AND start < $3
