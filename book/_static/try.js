// The page "Try it": a run's kept replies to one question, side by side. The page holds the data.
// What a model wrote is put in as text, never as HTML. Jupyter Book loads this file on every page.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const data = document.getElementById("replies-data");
  if (!data) return;
  const questions = JSON.parse(data.textContent), limit = Number(data.dataset.limit);
  const byId = (id) => document.getElementById(id);
  const box = byId("replies"), domain = byId("replies-domain"), pick = byId("replies-pick");
  const onlyWhole = byId("replies-whole"), articles = [...box.querySelectorAll("article")];
  const isWhole = (question) => articles.every((a) => question.replies[a.dataset.arm]);
  const linkTo = (question) => "#q=" + encodeURIComponent(question.id);
  let current = questions.find(isWhole) || questions[0];

  function add(parent, tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  // Which questions there are to choose from

  const passes = (question) =>
    (!domain.value || question.domain === domain.value) &&
    (!onlyWhole?.checked || isWhole(question));

  function listQuestions() {
    pick.replaceChildren();
    for (const question of questions.filter(passes)) {
      pick.add(new Option(question.question.replace(/\s+/g, " "), question.id));
    }
    for (const option of domain.options) { // a domain with nothing in it cannot be chosen
      option.disabled = option.value !== "" && !questions.some((question) =>
        question.domain === option.value && (!onlyWhole?.checked || isWhole(question)));
    }
  }

  // One question and its replies

  function showReply(article, reply) {
    const body = article.querySelector(".reply-body");
    body.replaceChildren();
    article.classList.toggle("reply-absent", !reply);
    if (!reply) {
      add(body, "p", "reply-none", "The run did not ask this question in this way.");
      return;
    }
    const given = article.closest("[data-given]") !== null;
    if (reply.role) {
      const role = add(body, "div", given ? "reply-role reply-given" : "reply-role");
      add(role, "b", "", given ? "Role, put there" : "Role, written by the model");
      add(role, "span", "reply-text", reply.role);
    }
    const answer = add(body, "div", "reply-answer");
    add(answer, "b", "", "Answer");
    if (reply.answer.trim()) add(answer, "span", "reply-text", reply.answer.trim());
    else add(answer, "i", "", reply.role && reply.outcome === "broken"
      ? "None: the role never ended." : "None was written.");
    showLength(body, reply, given);
  }

  function showLength(body, reply, given) {
    const written = (given ? 0 : reply.role_tokens + 1) + reply.answer_tokens;
    const longest = limit + (given ? reply.role_tokens : 0);
    const bar = add(body, "div", "reply-bar");
    bar.setAttribute("aria-hidden", "true");
    for (const [part, count] of [["role", reply.role_tokens], ["answer", reply.answer_tokens]]) {
      const look = given && part === "role" ? "bar-role bar-given" : `bar-${part}`;
      add(bar, "span", look).style.width = `${Math.min(100, (100 * count) / longest)}%`;
    }
    const role = reply.role ? `${reply.role_tokens} tokens of role, ` : "";
    const answer = `${reply.answer_tokens} ${role ? "" : "tokens "}of answer`;
    const cut = written >= limit ? `, cut at ${limit}` : "";
    add(body, "p", "reply-length", role + answer + cut);
  }

  function show(note) {
    if (!passes(current)) {
      domain.value = "";
      if (onlyWhole) onlyWhole.checked = false;
    }
    listQuestions();
    pick.value = current.id;
    const place = `${pick.selectedIndex + 1} of ${pick.options.length}`;
    byId("replies-status").textContent = `${note || ""}${current.domain}, question ${place}`;
    byId("replies-question").textContent = current.question;
    byId("replies-link").href = linkTo(current);
    for (const article of articles) showReply(article, current.replies[article.dataset.arm]);
    const given = box.querySelector("[data-given]");
    const some = given.querySelector("article:not(.reply-absent)") !== null;
    given.querySelector(".replies-missing").hidden = some;
    given.querySelector(".replies-row").hidden = !some;
    const other = questions.find((question) => question.id === current.role_of);
    byId("replies-other").href = linkTo(other || current);
    byId("replies-other").textContent = other ? `“${other.question}”` : "another question";
  }

  function showLinked() {
    const found = location.hash.match(/^#q=(.+)$/);
    if (!found) return show();
    let id = found[1];
    try { id = decodeURIComponent(id); } catch { /* no such question, as below */ }
    const linked = questions.find((question) => question.id === id);
    current = linked || current;
    show(linked ? "" : "The link names a question that this run did not ask. Here is another: ");
  }

  // `replace`: going through questions leaves no trail in the browser's history; links do.
  const choose = (question) => location.replace(linkTo(question));

  function step(by, among = questions.filter(passes)) {
    const place = among.indexOf(current);
    choose(among[(place + by + among.length) % among.length]);
  }

  add(domain, "option", "", "All domains").value = "";
  for (const name of new Set(questions.map((question) => question.domain))) {
    domain.add(new Option(name, name));
  }
  const filter = () => {
    if (!questions.some(passes)) domain.value = ""; // none of this domain has all replies
    if (passes(current)) show();
    else choose(questions.find(passes));
  };
  domain.addEventListener("change", filter);
  onlyWhole?.addEventListener("change", filter);
  pick.addEventListener("change", () => choose(questions.find((q) => q.id === pick.value)));
  for (const button of box.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => {
      step(Number(button.dataset.step));
      if ("up" in button.dataset) byId("replies-question").focus(); // scrolls there, too
    });
  }
  byId("replies-next-whole")?.addEventListener("click", () => {
    const after = questions.slice(questions.indexOf(current) + 1).concat(questions);
    choose(after.find(isWhole));
    byId("replies-question").focus();
  });
  window.addEventListener("hashchange", showLinked);
  box.hidden = false;
  showLinked();
});
