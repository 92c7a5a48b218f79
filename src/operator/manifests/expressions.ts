import type { InstallValues } from './values.ts';

/**
 * What objects are written in, so that one definition makes both kpctl's objects and the chart's templates: plain data in which some places are
 * known only when the objects are made. `evaluate.ts` puts values there, `helm-template.ts` writes what Helm is to put there.
 */
export type Tree = string | number | boolean | Expression | Conditional | Repeated | readonly Tree[] | TreeMap;

export interface TreeMap {
  readonly [key: string]: Tree;
}

/** How a value is found or made. */
export type Form =
  /** Of the installation's values, by its path. */
  | { readonly kind: 'value'; readonly path: string }
  /** The namespace, and what installs: `kpctl` or `Helm`. */
  | { readonly kind: 'release'; readonly field: 'namespace' | 'manager' }
  /** What a {@link Repeated} repeats for. */
  | { readonly kind: 'element' }
  | { readonly kind: 'text'; readonly parts: readonly (string | Expression)[] }
  /** JSON, as text: keys sorted. */
  | { readonly kind: 'json'; readonly of: Tree }
  | { readonly kind: 'choice'; readonly condition: Expression; readonly yes: Tree; readonly no: Tree }
  /** Lists, one after the other; what is in several is there once. */
  | { readonly kind: 'union'; readonly lists: readonly Tree[] };

/** A value that is known only when the objects are made. */
export class Expression {
  readonly form: Form;
  constructor(form: Form) {
    this.form = form;
  }
}

/** An entry of a map or a list that is there where the condition is true: not empty, not 0, not false. */
export class Conditional {
  readonly condition: Expression;
  readonly content: Tree;
  constructor(condition: Expression, content: Tree) {
    this.condition = condition;
    this.content = content;
  }
}

/** A list with an entry for each one of another. */
export class Repeated {
  readonly list: Expression;
  readonly entry: Tree;
  constructor(list: Expression, entry: Tree) {
    this.list = list;
    this.entry = entry;
  }
}

/** Paths of the values: `operator.replicas`. Not into maps whose keys are the user's. */
type PathOf<T> = T extends readonly unknown[]
  ? never
  : T extends object
    ? string extends keyof T
      ? never
      : { [K in keyof T & string]: K | `${K}.${PathOf<T[K]>}` }[keyof T & string]
    : never;
export type ValuePath = PathOf<InstallValues>;

export function value(path: ValuePath): Expression {
  return new Expression({ kind: 'value', path });
}

/** The namespace that is installed into. */
export const namespace = new Expression({ kind: 'release', field: 'namespace' });

/** `kpctl` or `Helm`. */
export const manager = new Expression({ kind: 'release', field: 'manager' });

/** In the entry of {@link each}: what it is for. */
export const element = new Expression({ kind: 'element' });

/** A text with values in it: `` text`${value('registry')}/kpeering` ``. */
export function text(strings: TemplateStringsArray, ...values: readonly Expression[]): Expression {
  const parts = strings.flatMap((string, index): (string | Expression)[] => {
    const between = values[index];
    return between === undefined ? [string] : [string, between];
  });
  return new Expression({ kind: 'text', parts: parts.filter((part) => part !== '') });
}

export function json(of: Tree): Expression {
  return new Expression({ kind: 'json', of });
}

export function choice(condition: Expression, yes: Tree, no: Tree): Expression {
  return new Expression({ kind: 'choice', condition, yes, no });
}

export function union(...lists: readonly Tree[]): Expression {
  return new Expression({ kind: 'union', lists });
}

export function when(condition: Expression, content: Tree): Conditional {
  return new Conditional(condition, content);
}

export function each(list: Expression, entry: Tree): Repeated {
  return new Repeated(list, entry);
}

export function isList(tree: Tree): tree is readonly Tree[] {
  return Array.isArray(tree);
}
