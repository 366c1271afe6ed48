import type { Services } from '../services.ts';
import { storedSweep, type StoredSweep } from './sweep-report.ts';

/** The report of the latest run; each overwrites the one before. */
const BLOB = 'sagas/sweep.json';

/** What the latest run left; undefined before the first one, and when it was written by another version. */
export async function lastSweep({
  blobs,
}: Pick<Services, 'blobs'>): Promise<StoredSweep | undefined> {
  const text = await blobs.read('control', BLOB);
  return text === undefined ? undefined : storedSweep.safeParse(JSON.parse(text)).data;
}

export async function keepSweep(
  { blobs }: Pick<Services, 'blobs'>,
  sweep: StoredSweep,
): Promise<void> {
  await blobs.write('control', BLOB, JSON.stringify(sweep));
}
