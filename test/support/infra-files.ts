import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type BicepFile, readBicep } from '../../tools/bicep/model.ts';
import { createBicepParser } from '../../tools/bicep/parse.ts';

export interface InfraFile extends BicepFile {
  readonly name: string;
  readonly text: string;
}

/** Every Bicep file of the repository, read. */
export async function readInfraFiles(): Promise<ReadonlyMap<string, InfraFile>> {
  const parse = await createBicepParser();
  return new Map(
    globSync('infra/**/*.bicep').map((name) => {
      const text = readFileSync(name, 'utf8');
      return [name, { name, text, ...readBicep(parse(text)) }];
    }),
  );
}

/** A path as a Bicep file writes it, from the root of the repository. */
export function besideFile(file: string, relative: string): string {
  return path.join(path.dirname(file), relative);
}

export function fileNamed(files: ReadonlyMap<string, InfraFile>, name: string): InfraFile {
  const file = files.get(name);
  if (file === undefined) throw new Error(`There is no ${name}.`);
  return file;
}
