"""What a data set looks like: readers of its forms, schema, profile, digest, signature."""
