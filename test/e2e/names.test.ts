import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import { kpctl, onLaptop } from '../../src/kpctl/demo/stage.ts';
import { privateNetworkAddresses } from '../../src/simulator/network/index.ts';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { CLUSTER_DNS, clusterDnsByOtherPort, endpointAddresses, generatedObjects, generatedQuestions } from './generated-names.ts';

const SYSTEM_NAMESPACE = 'kpeering-system';
const OTHER_PORT = 5300;
/** May reach the gateway, and see nothing of any other namespace. */
const stranger = 'kp-e2e-names-stranger';

const comparisonSchema = z.object({
  questions: z.number(),
  records: z.number(),
  differences: z.array(z.object({ question: z.string(), first: z.array(z.string()), second: z.array(z.string()) })),
});

let stage: ClusterStage;
let serviceAddresses: readonly string[];
let binding: string;

test.before(async (t) => {
  stage = await openClusterStage('names', [], (line) => t.log(line));
  binding = stage.namespace;
  await stage.kubectlOut('create', 'rolebinding', binding, '-n', SYSTEM_NAMESPACE, '--role=kpeering-user', `--user=${stranger}`);
  const objects = generatedObjects(stage.namespace);
  t.is(objects.length, 200);
  const file = join(stage.temporary, 'objects.json');
  const podAddresses = 'jsonpath={.items[*].endpoints[*].addresses[0]}';
  const ofDns = ['-n', 'kube-system', '-l', 'kubernetes.io/service-name=kube-dns', '-o', podAddresses];
  const dnsPods = (await stage.kubectlOut('get', 'endpointslices', ...ofDns)).trim().split(' ');
  const items = [...objects, ...clusterDnsByOtherPort(dnsPods, OTHER_PORT)];
  await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  await stage.kubectlOut('create', '-f', file);
  const column = 'jsonpath={range .items[*]}{.spec.clusterIP}{"\\n"}{end}';
  serviceAddresses = (await stage.kubectlOut('get', 'services', '-o', column)).split('\n').filter((address) => /^[0-9a-f]/u.test(address));
});
test.after.always(async () => {
  await stage.kubectl('delete', 'rolebinding', binding, '-n', SYSTEM_NAMESPACE);
  await stage[Symbol.asyncDispose]();
});

/** Who the zone's name server is: the cluster says its own (docs/dns.md). */
const documented = (question: string): boolean => question === 'cluster.local 2' || question.startsWith('ns.dns.cluster.local ');

async function compare(t: ExecutionContext, named: 'all' | 'named', ...options: string[]): Promise<void> {
  const addresses = [...serviceAddresses, ...endpointAddresses(stage.namespace, named)];
  const questions = generatedQuestions(stage.namespace, addresses);
  const servers = [`${privateNetworkAddresses.dns}:53`, `${CLUSTER_DNS}.${stage.namespace}.svc.cluster.local:${OTHER_PORT}`];
  const program = [stage.node, stage.inCheckout('test/e2e/compare-names.ts'), ...servers];
  const outcome = await onLaptop(stage, kpctl(stage, 'run', ...options, '--', ...program), { input: JSON.stringify(questions) });
  t.is(outcome.code, 0, outcome.stderr);
  const { differences, ...compared } = comparisonSchema.parse(JSON.parse(outcome.stdout));
  t.log(`${compared.questions} questions, ${compared.records} records`);
  t.true(compared.questions > 1000 && compared.records > 1000);
  t.deepEqual(
    differences.filter(({ question }) => !documented(question)),
    [],
  );
}

test("names are answered as by the cluster's own DNS, to who may watch", async (t) => {
  await compare(t, 'all');
});

test("names are answered as by the cluster's own DNS, to who may see nothing", async (t) => {
  await compare(t, 'named', '--as', stranger);
});
