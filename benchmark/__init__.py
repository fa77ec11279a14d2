"""What the product is measured with: the demonstration, the conformance runner, the cost of a step."""
