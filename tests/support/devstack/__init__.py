"""A Kafka broker and a CQL store (Apache Cassandra) of one's own, without a container engine: Java 17 and Maven.

For development, tests and experiments; not for anybody's data. Owns the processes it starts and the directory it is
given. Does not own topics and keyspaces: those are Headrace's.
"""
