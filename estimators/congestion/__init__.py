"""What one request costs those behind it: step-time law, engine replay, queues, panels and prices by load."""
