"""Taking an environment down: what goes, what stays, what is in the way, and how it ended.

request     the input, held against its schema and against what there is
inventory   what goes and what stays, told before anything is changed
hindrances  what others have put where only the environment's own things should be
removal     the tiers' stacks, in the reverse order of a release
database    the end of the database, which leaves a snapshot
images      the bucket of the images, if it is to go
record      the receipt, and what the table remembers afterwards
"""
