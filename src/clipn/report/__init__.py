"""What people look at: pages made from answers."""
