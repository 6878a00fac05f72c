"""What runs for the status page without anybody asking: alerts to those who have subscribed."""
