"""The work behind the commands, one file per family: generators that check their inputs and then yield events."""
