"""Long work in processes of its own: kept in a database, queued, run at idle priority, followed, cancelled, resumed."""
