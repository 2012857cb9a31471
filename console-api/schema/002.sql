-- SPDX-License-Identifier: Apache-2.0
-- Schema 2: the version of console-api that brought the file to its schema, so that an older one,
-- which refuses it, can say which to use.
ALTER TABLE meta ADD COLUMN program TEXT NOT NULL DEFAULT '';
