"""Training: `plan` chooses model and options, `run` trains and yields events; an interrupted run can be resumed."""
