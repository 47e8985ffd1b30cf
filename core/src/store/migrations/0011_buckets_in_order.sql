-- The rows of a bucket in the order in which they came: what is added goes to the end of the index. Made anew by the app.
DROP INDEX IF EXISTS customer_in_bucket;
DROP INDEX IF EXISTS visit_in_bucket;
DROP INDEX IF EXISTS attachment_in_bucket;
DROP INDEX IF EXISTS collision_in_bucket;
