/** The effect of a registration's first two steps alone. What else the bare transactions need the product has itself. */

/** Values: bucket, email key (hex), email, user id, saga id. */
export const RESERVE_EMAIL = `
INSERT INTO email_directory (bucket, email_key, email, user_id, state, saga_id, updated_at)
VALUES (?, UNHEX(?), ?, ?, 'reserved', ?, NOW(3))`;

/** Values: bucket, user id, email, email key (hex). */
export const CREATE_USER = `
INSERT INTO users (bucket, user_id, email, email_key, created_at) VALUES (?, ?, ?, UNHEX(?), NOW(3))`;
