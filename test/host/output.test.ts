import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { startChild } from './support/child.ts';

const MODULE = pathToFileURL(join(import.meta.dirname, '..', '..', 'local', 'host', 'output.ts'));

/** Runs these statements with the process's `output`, and tells what came out of it. */
async function outputOf(statements: string): Promise<string> {
  const program = `import { createProcessOutput } from '${MODULE.href}';
const output = createProcessOutput();
${statements}`;
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
  const child = startChild(process.execPath, args, process.env);
  await child.ended;
  return child.output();
}

test('lines come out in their order, also the last ones of a process that ends at once', async () => {
  const text = await outputOf(`
output.stdout('one\\n');
output.stdout('two\\n');
setImmediate(() => {
  process.stdout.write('next turn\\n');
  output.stdout('three\\n');
  process.exit(0);
});`);
  expect(text).toBe('one\ntwo\nnext turn\nthree\n');
});

test('what was said before an error is not told after it', async () => {
  const text = await outputOf(`
process.stdout.write = (text) => process.stderr.write('out ' + text);
output.stdout('before\\n');
output.stderr('error\\n');
output.stdout('after\\n');`);
  expect(text).toBe('out before\nerror\nout after\n');
});
