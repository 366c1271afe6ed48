/** `npm run check:bicep`: every .bicep file must parse. */
import { globSync, readFileSync } from 'node:fs';
import { createBicepParser, syntaxProblems } from './parse.ts';

const parse = await createBicepParser();
const files = globSync('infra/**/*.bicep').toSorted();
let failed = files.length === 0;
if (failed) console.error('There is no .bicep file below infra/.');
for (const file of files) {
  for (const problem of syntaxProblems(parse(readFileSync(file, 'utf8')))) {
    failed = true;
    console.error(`${file}:${problem}`);
  }
}
if (failed) process.exitCode = 1;
else console.log(`All ${files.length} Bicep files parse.`);
