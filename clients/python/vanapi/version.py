# SPDX-License-Identifier: Apache-2.0
"""That of the project: client and console of one version know the same operations."""
VERSION = "0.2.0"
