-- Nothing is asked by these: a code is found by the search, and the visits of a rep by their day or state.
DROP INDEX IF EXISTS customer_by_code;
DROP INDEX IF EXISTS visit_by_rep;
