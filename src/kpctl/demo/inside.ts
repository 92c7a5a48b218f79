import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { atParentsEnd, outsideListener, startLab, type Lab } from '../../lab/index.ts';
import { messageOf } from '../../platform/errors.ts';
import { createLogger } from '../../platform/log.ts';
import { injectByLabel } from './injection.ts';
import { playChat } from './chat-story.ts';
import { playHttp, playSuddenDeath } from './http-story.ts';
import { insideTaskSchema, type InsideMessage, type InsideTask } from './inside-messages.ts';
import { StoryError, type Stage } from './stage.ts';

/** The demo's program inside the lab's namespaces: starts the lab with the examples, and plays or waits. A main file. */

const root = fileURLToPath(new URL('../../../', import.meta.url));
const node = process.execPath;
const namespace = 'demo';

/** What the manifests' images are here: the checkout's (or the package's) own files. */
const images = {
  'kpeering/kpeering:dev': { entrypoint: ['/bin/sh', join(root, 'bin/supervise.sh')], environment: { KPEERING_NODE: node } },
  'kpeering/init:dev': { entrypoint: ['/bin/sh', join(root, 'init-container/redirect.sh')] },
  'kpeering/examples:dev': { entrypoint: [node, join(root, 'deploy/examples/apps/main.js')] },
};

const tell = (line: string): void => void process.stdout.write(`${line}\n`);

function tellParent(message: InsideMessage): void {
  process.send?.(message);
}

async function main(): Promise<number> {
  const task = insideTaskSchema.parse(JSON.parse(process.argv[2] ?? '{}'));
  const apiListener = task.kind === 'keep' ? await outsideListener() : undefined;
  tellParent({ type: 'started', pidNamespace: readlinkSync('/proc/self/ns/pid') });
  const began = performance.now();
  const lab = await startLab({
    images,
    keepVisible: [root, node],
    admission: injectByLabel,
    log: createLogger('lab', process.env['KPEERING_LOG'] ?? 'error'),
    ...(apiListener !== undefined && task.kind === 'keep' && { apiListener, directory: task.directory }),
  });
  await lab.createNamespace(namespace);
  for (const file of ['deploy/examples/http.yaml', 'deploy/examples/chat.yaml', 'deploy/gateway.yaml']) {
    await lab.apply(readFileSync(join(root, file), 'utf8'), namespace);
  }
  await lab.waitReady();
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  tell(
    `A cluster in miniature is up in ${seconds} s: ${lab.podNames(namespace).length} pods, each with its own network, rules and sidecar.`,
  );
  return await perform(task, lab);
}

async function perform(task: InsideTask, lab: Lab): Promise<number> {
  if (task.kind === 'keep') {
    tellParent({ type: 'ready', kubeconfig: lab.kubeconfigs.outside ?? '', namespace });
    return await new Promise<never>(() => undefined); // ends with the parent
  }
  const home = join(lab.workspace, 'laptop-home');
  mkdirSync(home, { mode: 0o700 });
  const stage: Stage = {
    namespace,
    laptopPrefix: lab.laptop.prefix,
    kpctl: [node, join(root, 'bin/kpctl.js')],
    example: [node, join(root, 'deploy/examples/apps/main.js')],
    environment: { PATH: process.env['PATH'], TERM: 'dumb', HOME: home, XDG_RUNTIME_DIR: home, KUBECONFIG: lab.kubeconfigs.laptop },
    tell,
  };
  try {
    await playChat(stage);
    await playHttp(stage);
    await playSuddenDeath(stage);
    return 0;
  } catch (error) {
    tell(`  WRONG  ${error instanceof StoryError ? error.message : messageOf(error)}`);
    return 1;
  } finally {
    await lab.close();
  }
}

atParentsEnd(() => process.exit(1));
try {
  process.exit(await main());
} catch (error) {
  process.stderr.write(`kpctl demo: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(1);
}
