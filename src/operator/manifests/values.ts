import { z } from 'zod';
import { version } from '../../platform/version.ts';
import { optionNames } from '../injection/index.ts';

/**
 * What can be set at an installation: `--values` and `--set` of kpctl, values of the chart (values.yaml and values.schema.json are made
 * from this).
 */

const image = (name: string, what: string) =>
  z
    .string()
    .min(1)
    .regex(/^\S+$/u, 'has blanks')
    .default(`kpeering/${name}:${version}`)
    .describe(`${what}; a tag or a digest is part of it`);

const names = z.array(z.string().regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/u, 'is not the name of an object'));

const quantities = z.record(z.string(), z.union([z.string(), z.number()]));

const resources = (fallback: Readonly<Partial<Record<'requests' | 'limits', Record<string, string>>>>) =>
  z
    .strictObject({ requests: quantities.optional(), limits: quantities.optional() })
    .default({ ...fallback })
    .describe('Of each of its pods');

const placement = {
  priorityClassName: z.string().default('').describe('Such as system-cluster-critical; empty: the default one'),
  nodeSelector: z.record(z.string(), z.string()).default({}).describe('Labels that its nodes must have'),
  tolerations: z.array(z.looseObject({})).default([]).describe("Taints that it tolerates, in Kubernetes' form"),
};

const replicas = (fallback: number) => z.int().min(1).max(100).default(fallback);

export const valuesSchema = z.strictObject({
  registry: z
    .string()
    .regex(/^([^\s/]+(\/[^\s/]+)*)?$/u, 'is not a registry (registry.example.com/team)')
    .default('')
    .describe('Put before the names of both images, with a slash: registry.example.com/team'),
  images: z
    .strictObject({
      kpeering: image('kpeering', 'The operator, the gateway and the sidecars'),
      init: image('init', 'The init container, which makes the rules of a pod'),
    })
    .prefault({}),
  pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).default('IfNotPresent').describe('Of all images'),
  imagePullSecrets: names.default([]).describe("Names of Secrets in kpeering's own namespace, for the operator and the gateway"),
  logLevel: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe('Of the operator and the gateway; of sidecars: the option log-level'),
  injection: z
    .strictObject({
      defaults: z
        .partialRecord(z.enum(optionNames), z.string())
        .default({})
        .describe('Options for every pod, by their names without kpeering.io/ (docs/injection.md); annotations win'),
      excludedNamespaces: names.default([]).describe('Namespaces whose pods are never injected, beside kube-system and our own'),
      imagePullSecrets: names.default([]).describe("Names of Secrets in the injected pods' own namespaces, for both images"),
    })
    .prefault({}),
  operator: z
    .strictObject({
      replicas: replicas(2).describe('All of them answer the API server; one does what must be done once'),
      resources: resources({ requests: { cpu: '50m', memory: '96Mi' }, limits: { memory: '384Mi' } }),
      ...placement,
    })
    .prefault({}),
  gateway: z
    .strictObject({
      enabled: z.boolean().default(true).describe('The exit for kpctl run and kpctl up without a workload'),
      replicas: replicas(1).describe('Laptops spread over them, and go to another one when theirs ends'),
      resources: resources({ requests: { cpu: '50m', memory: '64Mi' } }),
      ...placement,
    })
    .prefault({}),
});

/** Every value, defaults filled in. */
export type InstallValues = z.infer<typeof valuesSchema>;

/** Values that somebody gives, not yet checked. */
export interface GivenValues {
  readonly [key: string]: unknown;
}

/**
 * The values of an installation: later ones win, key by key, and null takes a default away, as Helm does it. Throws a ZodError.
 */
export function parseValues(...given: readonly GivenValues[]): InstallValues {
  const defaults: GivenValues = valuesSchema.parse({});
  return valuesSchema.parse(given.reduce((merged, next) => merge(merged, next), defaults));
}

/** Maps are merged key by key; anything else is replaced. */
export function merge(values: GivenValues, given: GivenValues): GivenValues {
  const merged: Record<string, unknown> = { ...values };
  for (const [key, next] of Object.entries(given)) {
    const before = merged[key];
    if (next === null) delete merged[key];
    else merged[key] = isMap(before) && isMap(next) ? merge(before, next) : next;
  }
  return merged;
}

function isMap(value: unknown): value is GivenValues {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
