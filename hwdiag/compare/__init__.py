"""How do hosts and dates compare?"""
