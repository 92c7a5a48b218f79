import { z } from 'zod';
import type { Manifest } from '../../cluster/types.ts';
import { groups, namespaceObject } from './definition.ts';
import { evaluate } from './evaluate.ts';
import type { InstallValues } from './values.ts';

export interface Installation {
  readonly namespace: string;
  readonly values: InstallValues;
}

const manifestSchema: z.ZodType<Manifest> = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }),
});

/** The objects of an installation by kpctl, in the order of their making: the namespace first, the webhook's configuration last. */
export function installationObjects({ namespace, values }: Installation): readonly Manifest[] {
  const release = { namespace, values, manager: 'kpctl' };
  return [namespaceObject, ...groups.flatMap(({ objects }) => objects)].flatMap((tree) => {
    const object = evaluate(tree, release);
    return object === undefined ? [] : [manifestSchema.parse(object)];
  });
}
