import { z } from 'zod';
import { version } from '../../platform/version.ts';
import { groups } from './definition.ts';
import { helmTemplate } from './helm-template.ts';
import { valuesSchema } from './values.ts';

const MADE = 'Made by scripts/chart.ts from src/operator/manifests: change it there.';

/** The files of the Helm chart, by their paths in its folder. */
export function chartFiles(): ReadonlyMap<string, string> {
  const schema = valuesJsonSchema();
  return new Map([
    ['Chart.yaml', chartYaml],
    ['values.yaml', `# ${MADE}\n# What each value may be: values.schema.json.\n${valuesYaml(schema, 0)}`],
    ['values.schema.json', `${JSON.stringify({ $comment: MADE, ...schema }, undefined, 2)}\n`],
    ...groups.map(({ name, objects }): [string, string] => [
      `templates/${name}.yaml`,
      `{{- /* ${MADE} */ -}}\n${objects.map((object) => `---\n${helmTemplate(object)}`).join('')}`,
    ]),
    ['templates/NOTES.txt', notes],
  ]);
}

const chartYaml = `# ${MADE}
apiVersion: v2
name: kpeering
description: Joins a process on a laptop to a Kubernetes cluster, in both directions.
type: application
version: ${version}
appVersion: ${version}
kubeVersion: ">=1.25.0-0"
`;

const notes = `kpeering {{ .Chart.AppVersion }} is being installed in the namespace {{ .Release.Namespace }}.

Pods with the label kpeering.io/inject=enabled get a sidecar when they are created:

  kpctl inject WORKLOAD          # sets the label on its template, and waits for the rollout
  kpctl intercept WORKLOAD --port [LOCAL:]REMOTE

Let somebody use it in a namespace:

  kubectl -n NAMESPACE create rolebinding kpeering-developer --clusterrole=kpeering-developer --user=USER
  kubectl -n {{ .Release.Namespace }} create rolebinding kpeering-user --role=kpeering-user --user=USER

Before it is uninstalled, take the sidecars out of the workloads that have one: kpctl eject WORKLOAD.
`;

const jsonSchema = z.looseObject({
  type: z.string().optional(),
  description: z.string().optional(),
  default: z.json().optional(),
  get properties() {
    return z.record(z.string(), jsonSchema).optional();
  },
});
type JsonSchema = z.infer<typeof jsonSchema>;

/** Of what may be given, so nothing is required. Draft 7: older versions of Helm know no other. */
function valuesJsonSchema(): JsonSchema {
  const schema = jsonSchema.parse(z.toJSONSchema(valuesSchema, { target: 'draft-7', io: 'input' }));
  // Helm puts it into the values of a chart that another one depends on.
  return { ...schema, properties: { ...schema.properties, global: { type: 'object' } } };
}

/** Every value with its default, and what it is for. */
function valuesYaml({ properties = {} }: JsonSchema, depth: number): string {
  const indent = '  '.repeat(depth);
  return Object.entries(properties)
    .filter(([name]) => name !== 'global')
    .map(([name, schema]) => {
      const comment = schema.description === undefined ? '' : `${indent}# ${schema.description}\n`;
      const value = schema.default === undefined || isGroup(schema) ? undefined : JSON.stringify(schema.default);
      return `${depth === 0 ? '\n' : ''}${comment}${indent}${name}:${value === undefined ? `\n${valuesYaml(schema, depth + 1)}` : ` ${value}\n`}`;
    })
    .join('');
}

/** An object of values, which has lines of its own; others are written as one value. */
function isGroup({ properties, default: fallback }: JsonSchema): boolean {
  return properties !== undefined && JSON.stringify(fallback ?? {}) === '{}';
}
