import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CannotDo } from './app-client.ts';
import {
  describePackage,
  developmentOnly,
  measure,
  packageProblems,
} from './deploy/package-content.ts';

const HELP = `Builds and stages exactly what is deployed: dist, sql, host.json, package.json and production dependencies.

  npm run package [-- options]

Options
  --out DIR       where to (default .shardline/package; replaced)
  --max-mb N      refuse a larger package (default 150)
  --help          this text

Beside DIR it writes DIR.sbom.json: what is in it, as CycloneDX. Exit code: 0 done, 2 not.
`;

/** What runs, by name; the dependencies are installed beside it. */
const STAGED = ['dist', 'sql', 'host.json', 'package.json', 'package-lock.json'];
const ROOT = resolve(import.meta.dirname, '..');

function npm(folder: string, ...args: readonly string[]): string {
  return execFileSync('npm', args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Removes only what an earlier run of this command made. */
function clear(out: string): void {
  if (!existsSync(out)) return;
  if (!existsSync(join(out, 'host.json'))) {
    throw new CannotDo(`${out} is there and is no package; name another folder with --out.`);
  }
  rmSync(out, { recursive: true });
}

function stage(out: string): void {
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
  npm(ROOT, 'run', '-s', 'build');
  clear(out);
  mkdirSync(out, { recursive: true });
  for (const name of STAGED) cpSync(join(ROOT, name), join(out, name), { recursive: true });
  const npmrc = join(ROOT, '.npmrc');
  if (existsSync(npmrc)) cpSync(npmrc, join(out, '.npmrc'));
  // No links to programs: nothing here runs them, and an archive of the package stays free of links.
  const options = ['--omit=dev', '--ignore-scripts', '--no-bin-links', '--prefer-offline'];
  npm(out, 'ci', ...options, '--no-audit', '--no-fund');
  rmSync(join(out, '.npmrc'), { force: true });
  mkdirSync(dirname(out), { recursive: true });
  // Without them in the manifest, which npm would call missing: nothing of theirs is here.
  const { devDependencies: _, ...manifest } = JSON.parse(
    readFileSync(join(out, 'package.json'), 'utf8'),
  ) as Record<string, unknown>;
  writeFileSync(join(out, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  writeFileSync(`${out}.sbom.json`, npm(out, 'sbom', '--omit=dev', '--sbom-format=cyclonedx'));
}

function main(args: readonly string[]): number {
  const { values } = parseArgs({
    args: [...args],
    options: {
      out: { type: 'string', default: join(ROOT, '.shardline', 'package') },
      'max-mb': { type: 'string', default: '150' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const maxMb = Number(values['max-mb']);
  if (!Number.isInteger(maxMb) || maxMb < 1) {
    throw new CannotDo('--max-mb takes a whole number of megabytes.');
  }
  const out = resolve(values.out);
  stage(out);
  const content = measure(out);
  console.log(describePackage(out, content));
  const development = developmentOnly(readFileSync(join(out, 'package-lock.json'), 'utf8'));
  const problems = packageProblems(content, { maxBytes: maxMb * 1024 * 1024, development });
  for (const problem of problems) console.error(problem);
  return problems.length === 0 ? 0 : 2;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof CannotDo || error instanceof TypeError ? error.message : error);
  process.exitCode = 2;
}
