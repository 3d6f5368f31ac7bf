"""The comparison database: one SQLAlchemy Core implementation for SQLite and PostgreSQL."""
