import { Conditional, Expression, isList, Repeated, type Tree, type TreeMap } from './expressions.ts';

/** One object as Helm's template: YAML in which every value that Helm puts in is JSON, which is YAML. */
export function helmTemplate(tree: Tree): string {
  if (tree instanceof Conditional) return `${ifLine(tree.condition)}\n${helmTemplate(tree.content)}{{- end }}\n`;
  return `${block(tree, 0).join('\n')}\n`;
}

/** The lines of a map or of a list, at this depth. */
function block(tree: Tree, depth: number): readonly string[] {
  if (tree instanceof Repeated) {
    const entry = listEntry(tree.entry, depth);
    return [`${indent(depth)}{{- range ${source(tree.list)} }}`, ...entry, `${indent(depth)}{{- end }}`];
  }
  if (isList(tree)) return tree.flatMap((entry) => conditional(entry, depth, (content) => listEntry(content, depth)));
  if (!isMap(tree)) throw new Error('only maps and lists have lines of their own');
  return Object.entries(tree).flatMap(([key, entry]) => conditional(entry, depth, (content) => mapEntry(key, content, depth)));
}

function conditional(tree: Tree, depth: number, lines: (content: Tree) => readonly string[]): readonly string[] {
  if (!(tree instanceof Conditional)) return lines(tree);
  return [`${indent(depth)}${ifLine(tree.condition)}`, ...lines(tree.content), `${indent(depth)}{{- end }}`];
}

function mapEntry(key: string, tree: Tree, depth: number): readonly string[] {
  const inline = inlineOf(tree);
  const name = `${indent(depth)}${scalar(key)}:`;
  return inline === undefined ? [name, ...block(tree, depth + 1)] : [`${name} ${inline}`];
}

function listEntry(tree: Tree, depth: number): readonly string[] {
  const inline = inlineOf(tree);
  if (inline !== undefined) return [`${indent(depth)}- ${inline}`];
  if (isMap(tree) && Object.values(tree)[0] instanceof Conditional)
    throw new Error('the first entry of a map in a list cannot be a condition');
  const [first = '', ...more] = block(tree, depth + 1);
  return [`${indent(depth)}- ${first.trimStart()}`, ...more];
}

/** What fits behind a key; undefined: it has lines of its own. */
function inlineOf(tree: Tree): string | undefined {
  if (tree instanceof Expression) return `{{ toJson ${source(tree)} }}`;
  if (tree instanceof Conditional || tree instanceof Repeated) return undefined;
  if (isList(tree)) return tree.length === 0 ? '[]' : undefined;
  if (typeof tree === 'object') return Object.keys(tree).length === 0 ? '{}' : undefined;
  return typeof tree === 'string' ? scalar(tree) : String(tree);
}

/** The expression in the language of Go's text/template, with Sprig's functions. */
function source(tree: Tree): string {
  if (tree instanceof Expression) return sourceOf(tree);
  if (tree instanceof Conditional || tree instanceof Repeated) throw new Error('a condition or a repetition cannot stand in an expression');
  if (isList(tree)) return `(list${tree.map((entry) => ` ${source(entry)}`).join('')})`;
  if (typeof tree === 'object') {
    const entries = Object.entries(tree).map(([key, entry]) => ` ${JSON.stringify(key)} ${source(entry)}`);
    return `(dict${entries.join('')})`;
  }
  return JSON.stringify(tree);
}

function sourceOf({ form }: Expression): string {
  switch (form.kind) {
    case 'value':
      return `.Values.${form.path}`;
    case 'release':
      return form.field === 'namespace' ? '.Release.Namespace' : '.Release.Service';
    case 'element':
      return '.';
    case 'text': {
      const format = form.parts.map((part) => (typeof part === 'string' ? part.replaceAll('%', '%%') : '%s')).join('');
      return `(printf ${[JSON.stringify(format), ...form.parts.filter((part) => typeof part !== 'string').map((part) => source(part))].join(' ')})`;
    }
    case 'json':
      return `(toJson ${source(form.of)})`;
    case 'choice':
      return `(ternary ${source(form.yes)} ${source(form.no)} (not (empty ${source(form.condition)})))`;
    case 'union':
      return `(uniq (concat ${form.lists.map((list) => source(list)).join(' ')}))`;
  }
}

function ifLine(condition: Expression): string {
  return `{{- if ${source(condition)} }}`;
}

function isMap(tree: Tree): tree is TreeMap {
  return (
    typeof tree === 'object' &&
    !isList(tree) &&
    !(tree instanceof Expression) &&
    !(tree instanceof Conditional) &&
    !(tree instanceof Repeated)
  );
}

/** Plain where YAML takes it for a text and nothing else, in any of its versions. */
function scalar(text: string): string {
  if (text.includes('{{')) throw new Error('Helm would take this text for its own');
  const plain = /^[a-z][\w./-]*( [\w./-]+)*$/iu.test(text) && !/^(y|n|yes|no|on|off|true|false|null)$/iu.test(text);
  return plain ? text : JSON.stringify(text);
}

function indent(depth: number): string {
  return '  '.repeat(depth);
}
