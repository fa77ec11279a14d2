"""States as earlier versions have left them, for the tests that later versions go on with them."""
