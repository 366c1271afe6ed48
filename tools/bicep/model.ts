import { type BicepNode, visit } from './parse.ts';

export interface BicepResource {
  readonly type: string;
  readonly apiVersion: string;
  readonly existing: boolean;
  readonly body: BicepNode | undefined;
}

export interface BicepModule {
  readonly path: string;
  /** Names of the parameters that it is given. */
  readonly given: readonly string[];
}

/** What a test wants to know of one Bicep file. */
export interface BicepFile {
  /** Name → whether it must be given. */
  readonly parameters: ReadonlyMap<string, { readonly required: boolean }>;
  readonly variables: ReadonlyMap<string, BicepNode>;
  readonly resources: readonly BicepResource[];
  readonly modules: ReadonlyMap<string, BicepModule>;
  readonly outputs: readonly string[];
  /** `module.outputs.name` as used here. */
  readonly outputUses: readonly { readonly module: string; readonly output: string }[];
  /** Arguments of `loadTextContent` and `loadJsonContent`, relative to the file. */
  readonly loaded: readonly string[];
  /** Names that are used but not declared. */
  readonly unknownNames: readonly string[];
  /** Parameters and variables that nothing uses. */
  readonly unusedNames: readonly string[];
}

/** Reads the parsed text of a file. Pure. */
export function readBicep(root: BicepNode): BicepFile {
  const parameters = new Map<string, { required: boolean }>();
  const variables = new Map<string, BicepNode>();
  const resources: BicepResource[] = [];
  const modules = new Map<string, BicepModule>();
  const outputs: string[] = [];
  const declared = new Set<string>();
  for (const node of root.namedChildren) {
    const name = node.namedChildren.find((child) => child.type === 'identifier')?.text ?? '';
    const last = node.namedChildren.at(-1);
    if (node.type !== 'output_declaration') declared.add(name);
    if (node.type === 'parameter_declaration') {
      parameters.set(name, { required: !node.children.some((child) => child.text === '=') });
    } else if (node.type === 'variable_declaration' && last !== undefined) {
      variables.set(name, last);
    } else if (node.type === 'resource_declaration') {
      const [type = '', apiVersion = ''] = firstString(node).split('@');
      const existing = node.children.some((child) => child.text === 'existing');
      resources.push({ type, apiVersion, existing, body: bodyOf(node) });
    } else if (node.type === 'module_declaration') {
      const params = propertyOf(bodyOf(node), 'params');
      modules.set(name, { path: firstString(node), given: params ? keysOf(params) : [] });
    } else if (node.type === 'output_declaration') outputs.push(name);
  }
  const uses = readUses(root);
  const known = new Set([...declared, ...uses.loopNames]);
  return {
    parameters,
    variables,
    resources,
    modules,
    outputs,
    outputUses: uses.outputUses,
    loaded: uses.loaded,
    unknownNames: [...uses.names.keys()].filter((name) => !known.has(name)),
    unusedNames: [...parameters.keys(), ...variables.keys()].filter(
      (name) => !uses.names.has(name),
    ),
  };
}

function readUses(root: BicepNode) {
  const names = new Map<string, BicepNode>();
  const loopNames = new Set<string>();
  const loaded: string[] = [];
  const outputUses: { module: string; output: string }[] = [];
  visit(root, (node) => {
    if (node.type === 'for_statement') {
      // `for item in …` or `for (item, index) in …`
      const before = node.text.slice(0, node.text.indexOf(' in '));
      for (const name of before.match(/\w+/g) ?? []) if (name !== 'for') loopNames.add(name);
    }
    if (
      node.type === 'call_expression' &&
      /^load\w+Content$/.test(node.namedChild(0)?.text ?? '')
    ) {
      loaded.push(firstString(node));
    }
    const used = node.type === 'member_expression' ? OUTPUT_USE.exec(node.text) : null;
    if (used !== null) outputUses.push({ module: used[1] ?? '', output: used[2] ?? '' });
    if (node.type === 'identifier' && isUse(node)) names.set(node.text, node);
  });
  return { names, loopNames, loaded, outputUses };
}

const OUTPUT_USE = /^(\w+)(?:\[[^\]]*\])?\.outputs\.(\w+)$/;

function isUse(node: BicepNode): boolean {
  const parent = node.parent;
  if (parent === null) return false;
  const isFirst = parent.firstNamedChild?.id === node.id;
  if (parent.type === 'object_property' && isFirst) return false;
  if (parent.type === 'call_expression' && isFirst) return false;
  if (parent.type.endsWith('_declaration')) {
    return parent.namedChildren.find((child) => child.type === 'identifier')?.id !== node.id;
  }
  return parent.type !== 'decorator';
}

function firstString(node: BicepNode): string {
  let text: string | undefined;
  visit(node, (each) => {
    if (each.type === 'string') text ??= each.text.slice(1, -1);
  });
  return text ?? '';
}

/** The object of a resource or module, below its loop and condition. */
function bodyOf(node: BicepNode): BicepNode | undefined {
  const last = node.namedChildren.at(-1);
  if (last === undefined || last.type === 'object') return last;
  return last.type === 'for_statement' || last.type === 'if_statement' ? bodyOf(last) : undefined;
}

/** The value of a property of an object; undefined when it has none of that name. Quoted names count as well. */
export function propertyOf(node: BicepNode | undefined, name: string): BicepNode | undefined {
  const property = node?.namedChildren.find(
    (child) => child.type === 'object_property' && keyOf(child) === name,
  );
  return property?.namedChildren.at(-1);
}

/** Names of an object's properties; of several objects joined by `union(…)` and `? :`, all of them. */
export function keysOf(node: BicepNode): string[] {
  if (node.type === 'object') {
    return node.namedChildren.filter((child) => child.type === 'object_property').map(keyOf);
  }
  return node.namedChildren.flatMap(keysOf);
}

function keyOf(property: BicepNode): string {
  return (property.firstNamedChild?.text ?? '').replace(/^'|'$/g, '');
}
