import fc from 'fast-check';

/** `SEED=123 npm run test:unit` repeats a property test's run; without it fast-check prints the seed of a failure. */
const seed = process.env['SEED'];
if (seed !== undefined) fc.configureGlobal({ seed: Number(seed) });
