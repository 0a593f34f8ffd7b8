"""What a judge is asked, how its reply is read, and how an endpoint is spoken to; the stage is showwork/judge.py."""
