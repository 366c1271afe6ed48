import { composeApp } from './compose.ts';

/**
 * The app's entry. The Functions worker imports this file on each cold start and stops the app when it throws, with
 * the message it throws.
 */
await composeApp();
