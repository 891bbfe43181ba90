"""What makes a pass happen: the queue, the sweep, the election, the fence. It knows no Tenant."""
