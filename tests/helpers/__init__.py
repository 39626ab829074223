"""What several tests share and no fixture gives: small nets, files, devices, processes."""
