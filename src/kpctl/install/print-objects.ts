import { stringify } from 'yaml';
import type { Manifest } from '../../cluster/types.ts';
import type { Terminal } from '../terminal.ts';

/** Prints objects as `kubectl apply -f -` takes them: YAML documents, or one JSON list. */
export function printObjects(terminal: Terminal, format: 'json' | 'yaml', objects: readonly Manifest[]): void {
  if (format === 'json') terminal.result(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }, undefined, 2));
  else for (const object of objects) terminal.result(`---\n${stringify(object).trimEnd()}`);
}
