// Shows what has changed, unless somebody is just typing there.
const content = document.getElementById("content");
const away = document.querySelector(".away");
const isBusy = () => content.contains(document.activeElement);
setInterval(async () => {
  if (isBusy() || document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!isBusy()) content.replaceChildren(...page.getElementById("content").childNodes);
    away.hidden = true;
  } catch {
    away.hidden = false;
  }
}, 2000);
