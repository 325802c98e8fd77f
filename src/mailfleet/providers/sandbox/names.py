"""Words for pretend people and firms. Each name is (as written, as it stands in an address)."""

from dataclasses import dataclass

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Land:
    """A country with its IANA zones and the names met there."""

    country: str
    zones: tuple[str, ...]
    first: tuple[Name, ...]
    last: tuple[Name, ...]


def _plain(words: str) -> tuple[Name, ...]:
    return tuple((word, word.lower()) for word in words.split())


def _pairs(words: str) -> tuple[Name, ...]:
    return tuple((written, latin) for written, _, latin in (word.partition("=") for word in words.split()))


LANDS = (
    Land(
        "US",
        ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"),
        _plain("Emma Liam Olivia Noah Ava Ethan Grace Mason Chloe Lucas Hannah Owen Nora Caleb Ruth Miles"),
        _plain("Miller Carter Brooks Hayes Turner Reed Foster Bennett Price Coleman Shaw Grant Lane Webb"),
    ),
    Land(
        "GB",
        ("Europe/London",),
        _plain("Oliver Amelia Harry Isla George Freya Arthur Poppy Alfie Edith Hugo Maisie"),
        _plain("Smith Jones Taylor Walker Hughes Clarke Wright Fletcher Marsh Hobbs Pryce Bain"),
    ),
    Land(
        "DE",
        ("Europe/Berlin",),
        _plain("Anna Felix Lena Jonas Clara Paul Greta Emil") + _pairs("Jürgen=juergen Käthe=kaethe Jörg=joerg"),
        _plain("Schmidt Fischer Weber Becker Hoffmann Koch") + _pairs("Müller=mueller Schäfer=schaefer Groß=gross"),
    ),
    Land(
        "FR",
        ("Europe/Paris",),
        _plain("Camille Louis Jeanne Hugo Manon Jules") + _pairs("Zoé=zoe Chloé=chloe François=francois Hélène=helene"),
        _plain("Martin Bernard Dubois Laurent Moreau Girard") + _pairs("Lefèvre=lefevre Béranger=beranger"),
    ),
    Land(
        "ES",
        ("Europe/Madrid",),
        _plain("Lucia Hugo Carmen Pablo Elena Diego") + _pairs("José=jose Inés=ines Íñigo=inigo"),
        _plain("Garcia Romero Navarro Torres Molina Ortega") + _pairs("Núñez=nunez Muñoz=munoz Peña=pena"),
    ),
    Land(
        "PL",
        ("Europe/Warsaw",),
        _plain("Anna Jan Maria Piotr Ewa Adam") + _pairs("Łukasz=lukasz Małgorzata=malgorzata Paweł=pawel"),
        _plain("Nowak Kowalska Lis Mazur Zalewska Duda") + _pairs("Wiśniewska=wisniewska Wójcik=wojcik Król=krol"),
    ),
    Land(
        "SE",
        ("Europe/Stockholm",),
        _plain("Astrid Erik Elsa Oskar Maja Nils") + _pairs("Åsa=asa Björn=bjorn Göran=goran"),
        _plain("Lindberg Holm Nyman Ek Sandberg") + _pairs("Sjöberg=sjoberg Åkesson=akesson Öberg=oberg"),
    ),
    Land(
        "RU",
        ("Europe/Moscow", "Asia/Yekaterinburg", "Asia/Novosibirsk"),
        _pairs("Анна=anna Иван=ivan Мария=maria Пётр=petr Ольга=olga Дмитрий=dmitry Елена=elena Юрий=yury"),
        _pairs("Павленко=pavlenko Черных=chernykh Бондаренко=bondarenko Живаго=zhivago Седых=sedykh Шевчук=shevchuk"),
    ),
    Land(
        "JP",
        ("Asia/Tokyo",),
        _pairs("結衣=yui 陽菜=hina 蓮=ren 大翔=hiroto 葵=aoi 悠真=yuma"),
        _pairs("佐藤=sato 鈴木=suzuki 高橋=takahashi 田中=tanaka 渡辺=watanabe 伊藤=ito"),
    ),
    Land(
        "BR",
        ("America/Sao_Paulo", "America/Manaus"),
        _plain("Julia Pedro Beatriz Rafael Larissa Bruno") + _pairs("João=joao Antônia=antonia Tomás=tomas"),
        _plain("Silva Souza Oliveira Pereira Costa Rocha") + _pairs("Araújo=araujo Conceição=conceicao"),
    ),
)

IDENTITIES = ("Northwind Trading Ltd", "Bluepeak Studio GmbH", "Fernhill Partners LLC", "Ostwerk Systems AG")


def _words(words: str) -> tuple[str, ...]:
    return tuple(words.split())


DOMAIN_PREFIXES = ("try", "get", "go", "hello", "with", "use", "team", "meet", "join", "ask")
DOMAIN_WORDS = _words(
    "example mail works desk labs hub base point path group line field studio bridge house gate crew loop north direct"
)

COMPANY_STEMS = _words(
    "Harbor Maple Cedar Granite Summit Lantern Copper Willow Falcon Meadow Quartz Juniper Beacon Canyon Ember Heron "
    "Aspen Delta Orchard Pinnacle Raven Saffron Tidal Velvet Walnut Zephyr Birch Clover Drift Flint Glacier Hazel"
)
COMPANY_KINDS = _words(
    "Logistics Foods Dental Software Bikes Tools Print Energy Textiles Travel Insurance Clinics Motors Garden Optics "
    "Packaging Security Hotels Audio Farms"
)
IDN_COMPANIES = ("Müller Bau", "Café Noir", "Łódź Cargo", "Åre Ski", "Señal Radio", "Заря Мебель")

SHARED_RECEIVERS = ("gmail-like.test", "outlook-like.test", "yahoo-like.test", "mailru-like.test")

TITLES = ("Head of Operations", "Founder", "Office Manager", "Sales Director", "CTO", "Buyer", "Marketing Lead")
TOPICS = ("delivery times", "energy costs", "staff training", "spare parts", "web shop", "packaging", "night shifts")
SOURCES = ("trade fair 2026", "website form", "chamber directory", "referral")
