import { createRequire } from 'node:module';
import Parser from 'web-tree-sitter';

const GRAMMAR = createRequire(import.meta.url).resolve('tree-sitter-bicep/tree-sitter-bicep.wasm');

export type BicepNode = Parser.SyntaxNode;

/** Makes a parser of the Bicep grammar. It knows the classic syntax only, to which `infra/` keeps (ADR 0019). */
export async function createBicepParser(): Promise<(text: string) => BicepNode> {
  await Parser.init();
  const parser = new Parser();
  parser.setLanguage(await Parser.Language.load(GRAMMAR));
  return (text) => parser.parse(text).rootNode;
}

/** Where a text is not Bicep: `line:column what`; none when it parses. Pure. */
export function syntaxProblems(root: BicepNode): string[] {
  if (!root.hasError) return [];
  const problems: string[] = [];
  visit(root, (node) => {
    const { row, column } = node.startPosition;
    if (node.isMissing) problems.push(`${row + 1}:${column + 1} "${node.type}" is missing`);
    else if (node.type === 'ERROR') {
      problems.push(`${row + 1}:${column + 1} not Bicep: ${node.text.slice(0, 60)}`);
    }
  });
  return problems;
}

/** Calls `look` with each node of the tree, parents first. */
export function visit(node: BicepNode, look: (node: BicepNode) => void): void {
  look(node);
  for (const child of node.children) visit(child, look);
}
