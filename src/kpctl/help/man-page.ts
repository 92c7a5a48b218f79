import type { Command, Option } from 'commander';
import { parseMarkdown, parseSpans, type Block } from './markdown.ts';
import type { Topic } from './topics.ts';

/** Topics that are sections of their own, as man-pages(7) names them; all others follow under their titles. */
const SECTIONS: readonly (readonly [title: string, topic: string])[] = [
  ['EXIT STATUS', 'exit-codes'],
  ['ENVIRONMENT', 'environment'],
  ['FILES', 'files'],
];

/** kpctl(1) in the macros of man(7): the commands and options as commander has them, then the topics. */
export function manPage(program: Command, topics: readonly Topic[], version: string): string {
  const help = program.createHelp();
  const find = (name: string): Topic | undefined => topics.find((topic) => topic.name === name);
  const sections = SECTIONS.flatMap(([title, name]) => {
    const topic = find(name);
    return topic === undefined ? [] : [`.SH ${title}`, ...blocks(topic.text, '.SS')];
  });
  const others = topics.filter(({ name }) => !SECTIONS.some(([, section]) => section === name));
  const lines = [
    '.\\" Made by "npm run man" from the commands, and from src/kpctl/help/topics.',
    `.TH KPCTL 1 "" "kpctl ${version}" "User Commands"`,
    '.SH NAME',
    `kpctl \\- ${lowerFirst(text(program.description().replace(/\.$/, '')))}`,
    '.SH SYNOPSIS',
    '.B kpctl',
    '.I COMMAND',
    '[\\fIOPTION\\fR ...] [\\fIARGUMENT\\fR ...]',
    '.SH OPTIONS',
    ...help.visibleOptions(program).flatMap(optionLines),
    '.SH COMMANDS',
    ...help
      .visibleCommands(program)
      .flatMap((command) => [
        `.SS kpctl ${text(command.name())} ${text(command.usage())}`.trimEnd(),
        sentence(command.description()),
        ...command.registeredArguments.flatMap((argument) =>
          argument.description === '' ? [] : ['.TP', `\\fI${text(argument.name())}\\fR`, text(argument.description)],
        ),
        ...help.visibleOptions(command).flatMap(optionLines),
      ]),
    ...sections,
    ...others.flatMap(({ title, text: story }) => [`.SH "${text(title.toUpperCase())}"`, ...blocks(story, '.SS')]),
  ];
  return `${lines.join('\n')}\n`;
}

function optionLines(option: Option): string[] {
  const notes = [
    option.argChoices === undefined ? '' : `one of ${option.argChoices.join(', ')}`,
    option.defaultValueDescription === undefined ? '' : `default: ${option.defaultValueDescription}`,
  ].filter((note) => note !== '');
  return ['.TP', `\\fB${text(option.flags)}\\fR`, text(option.description + (notes.length === 0 ? '' : ` (${notes.join('; ')})`))];
}

function blocks(markdown: string, heading: string): string[] {
  return parseMarkdown(markdown).flatMap((block) => blockLines(block, heading));
}

function blockLines(block: Block, heading: string): string[] {
  switch (block.kind) {
    case 'heading':
      return [`${heading} "${text(block.text)}"`];
    case 'paragraph':
      return ['.PP', spans(block.text)];
    case 'item':
      return ['.IP \\(bu 2', spans(block.text)];
    case 'code':
      return ['.PP', '.in +4n', '.nf', ...block.lines.map((line) => text(line)), '.fi', '.in'];
    case 'table':
      // Its first row says what the columns are, which a list of terms tells by itself.
      return block.rows
        .slice(1)
        .flatMap(([first = '', ...rest]) => ['.TP', spans(first), spans(rest.filter((cell) => cell !== '').join('; '))]);
  }
}

const fonts = { plain: '', code: '\\fB', strong: '\\fB', emphasis: '\\fI' } as const;

function spans(markdown: string): string {
  return guarded(
    parseSpans(markdown)
      .map(({ style, text: content }) => (style === 'plain' ? escaped(content) : `${fonts[style]}${escaped(content)}\\fR`))
      .join(''),
  );
}

function text(plain: string): string {
  return guarded(escaped(plain));
}

/** Characters that roff takes for its own, or that are not ASCII (groff_char(7)). */
function escaped(plain: string): string {
  return plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('~', '\\(ti')
    .replaceAll('^', '\\(ha')
    .replaceAll(
      /[^\n\t\u0020-\u007e]/gu,
      (character) => `\\[u${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`,
    );
}

/** A line that begins with a dot would be a macro. */
function guarded(line: string): string {
  return line.startsWith('.') ? `\\&${line}` : line;
}

function lowerFirst(line: string): string {
  return line.slice(0, 1).toLowerCase() + line.slice(1);
}

function sentence(line: string): string {
  return text(`${line.slice(0, 1).toUpperCase()}${line.slice(1)}${line.endsWith('.') ? '' : '.'}`);
}
