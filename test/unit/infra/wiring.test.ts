import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { keysOf, propertyOf, readBicep } from '../../../tools/bicep/model.ts';
import { createBicepParser, syntaxProblems } from '../../../tools/bicep/parse.ts';
import { besideFile, fileNamed, readInfraFiles } from '../../support/infra-files.ts';
import { ROLES, TYPES } from './resource-rules.ts';

const files = await readInfraFiles();
const all = [...files.values()];
const main = fileNamed(files, 'infra/main.bicep');

test('the grammar finds a planted mistake and says where', async () => {
  const parse = await createBicepParser();
  expect(syntaxProblems(parse("param x string = 'a'\n"))).toEqual([]);
  expect(syntaxProblems(parse("param x string = 'a'\nvar y = {\n  a: [1\n}\n"))).not.toEqual([]);
});

test('the reader tells what is unknown, unused, given and needed', async () => {
  const parse = await createBicepParser();
  const file = readBicep(
    parse(`param a string\nparam b int = 1\nvar c = a + nowhere\n
module m 'x.bicep' = { name: 'm', params: { p: c } }\noutput o string = m.outputs.q\n`),
  );
  expect(file.unknownNames).toEqual(['nowhere']);
  expect(file.unusedNames).toEqual(['b']);
  expect([...file.parameters].map(([name, { required }]) => [name, required])).toEqual([
    ['a', true],
    ['b', false],
  ]);
  expect(file.outputUses).toEqual([{ module: 'm', output: 'q' }]);
  expect(file.modules.get('m')).toEqual({ path: 'x.bicep', given: ['p'] });
});

test('every name is declared, and every parameter and variable used', () => {
  const problems = all.map((file) => [file.name, file.unknownNames, file.unusedNames]);
  expect(problems).toEqual(all.map((file) => [file.name, [], []]));
});

test('every loaded file and every module is there, and every module is used', () => {
  const wanted = all.flatMap((file) =>
    [...file.loaded, ...[...file.modules.values()].map((module) => module.path)].map((name) =>
      besideFile(file.name, name),
    ),
  );
  expect(wanted.filter((name) => !existsSync(name))).toEqual([]);
  expect(all.map((file) => file.name).filter((name) => !wanted.includes(name))).toEqual([
    'infra/main.bicep',
  ]);
});

test('modules are given the parameters that they take', () => {
  for (const file of all) {
    for (const [symbol, module] of file.modules) {
      const target = fileNamed(files, besideFile(file.name, module.path));
      const needed = [...target.parameters].filter(([, { required }]) => required);
      const where = `${symbol} in ${file.name}`;
      expect([where, needed.filter(([name]) => !module.given.includes(name))]).toEqual([where, []]);
      expect([where, module.given.filter((name) => !target.parameters.has(name))]).toEqual([
        where,
        [],
      ]);
    }
  }
});

test('outputs that are read are given', () => {
  for (const file of all) {
    for (const { module, output } of file.outputUses) {
      const target = file.modules.get(module);
      expect([module, target !== undefined]).toEqual([module, true]);
      const given = fileNamed(files, besideFile(file.name, target?.path ?? '')).outputs;
      expect(given).toContain(output);
    }
  }
});

test('the parameter file names every parameter once; only the generated password is left to azd', () => {
  const given = Object.keys(
    z
      .object({ parameters: z.record(z.string(), z.object({ value: z.string() })) })
      .parse(JSON.parse(readFileSync('infra/main.parameters.json', 'utf8'))).parameters,
  );
  const taken = [...main.parameters.keys()].filter((name) => name !== 'mysqlAdminPassword');
  expect(given.toSorted()).toEqual(taken.toSorted());
});

test('role ids are those of the roles that we mean', () => {
  const used = all.flatMap(
    (file) => file.text.match(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [],
  );
  expect(new Set(used)).toEqual(new Set(Object.keys(ROLES)));
});

test('resources have a known type, version, and the properties that it must have', () => {
  for (const file of all) {
    for (const { type, apiVersion, existing, body } of file.resources) {
      const rule = TYPES[type];
      expect([type, apiVersion]).toEqual([type, rule?.apiVersion]);
      if (existing) continue;
      expect([type, body?.type]).toEqual([type, 'object']);
      const properties = propertyOf(body, 'properties');
      const here = [...(body ? keysOf(body) : []), ...(properties ? keysOf(properties) : [])];
      const missing = (rule?.required ?? []).filter((name) => !here.includes(name));
      expect([file.name, type, missing]).toEqual([file.name, type, []]);
    }
  }
});
