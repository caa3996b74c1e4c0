"""What is known of vulnerabilities: CISA's KEV, FIRST's EPSS and NIST's NVD, read from their files and kept."""
