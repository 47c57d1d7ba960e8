"""Workers on other machines, through Celery on Redis."""
