import { LocalShardsError } from '../local/shards/errors.ts';
import { benchHostProfile, HOST_PROFILE_HELP } from './host/host-profile.ts';
import { benchMove, MOVE_HELP } from './move.ts';
import { OPTIONS_HELP } from './options.ts';
import { benchProfile, PROFILE_HELP } from './profile.ts';
import { benchTable, TABLE_BENCHES, TABLE_HELP } from './table.ts';
import { benchTelemetry, TELEMETRY_HELP } from './telemetry.ts';

const HELP = `Measures the product against the servers' own tools and limits. See bench/README.md.

  npm run bench -- [NAME] [options]

${TABLE_HELP}
${OPTIONS_HELP}
${MOVE_HELP}
${PROFILE_HELP}
${HOST_PROFILE_HELP}
${TELEMETRY_HELP}
Exit code: 0 measured (whatever the figures are), 2 it could not be measured.
`;

type Bench = (args: readonly string[]) => Promise<void>;

const BENCHES: Readonly<Record<string, Bench>> = {
  all: (args) => benchTable(TABLE_BENCHES, args),
  ...Object.fromEntries(
    TABLE_BENCHES.map((name): [string, Bench] => [name, (args) => benchTable([name], args)]),
  ),
  move: benchMove,
  profile: benchProfile,
  'host-profile': benchHostProfile,
  telemetry: benchTelemetry,
};

async function main(given: readonly string[]): Promise<number> {
  if (given.includes('--help')) {
    console.log(HELP);
    return 0;
  }
  const named = given[0] !== undefined && !given[0].startsWith('-');
  const name = named ? String(given[0]) : 'all';
  const args = named ? given.slice(1) : given;
  const bench = BENCHES[name];
  if (bench === undefined) {
    console.error(`There is no bench "${name}". npm run bench -- --help names them.`);
    return 2;
  }
  try {
    await bench(args);
    return 0;
  } catch (error) {
    const isTold = error instanceof LocalShardsError || error instanceof TypeError;
    console.error(isTold ? `Not measured: ${error.message}` : error);
    return 2;
  }
}

process.exitCode = await main(process.argv.slice(2));
