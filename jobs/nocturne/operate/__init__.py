"""The operations on nights: status, decisions, verification, rollback, reports and garbage."""
