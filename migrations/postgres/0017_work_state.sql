-- Open work is counted and summed for each piece of a file that arrives; work that is over waits beside it to be removed.
CREATE INDEX work_state ON work (state);
