"""Pictures for people. matplotlib is imported only here, and only when a picture is drawn."""
