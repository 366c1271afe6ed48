import { LocalShardsError } from '../local/shards/errors.ts';
import { benchMove, MOVE_HELP } from './move.ts';
import { benchTelemetry, TELEMETRY_HELP } from './telemetry.ts';

const HELP = `Measures the product against the servers' own tools and limits. See bench/README.md.

  npm run bench -- NAME [options]

${MOVE_HELP}
${TELEMETRY_HELP}
Exit code: 0 measured (whatever the figures are), 2 it could not be measured.
`;

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || args.includes('--help')) {
    console.log(HELP);
    return name === undefined ? 2 : 0;
  }
  const bench = { move: benchMove, telemetry: benchTelemetry }[name];
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
