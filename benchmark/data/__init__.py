"""How fast data comes through the queue, beside one well-tuned `rclone copy` between the same stores."""
