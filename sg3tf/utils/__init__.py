"""General-purpose utilities: files, parallel work, random streams, command lines."""
