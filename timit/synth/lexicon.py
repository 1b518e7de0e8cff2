"""Words of the synthetic sentences by the slot they fill, chosen so that rare phones (zh, oy, uh, th, jh) occur."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    """Split a list; an underscore joins the words of one entry."""
    return tuple(word.replace("_", " ") for word in text.split())


NOUN = _words("""
    apple army artist badger baker balcony banjo barrel basket beach bear bishop blanket boat book bottle boy
    branch bridge broom bucket bush butcher button cabbage cactus camel camera candle carpet castle cat cave chair
    cheese cherry chicken child church circle cloud coach coat coin collar colony compass cook cottage couch cousin
    cradle crowd curtain cushion daughter decision deer desk dinosaur doctor dog dolphin donkey door dragon drawer
    drum duchess eagle earring echo egg elbow engine envelope exam fabric factory farmer father feather fence fiddle
    finger fish flag flower flute forest fountain fox frog garage garden giant girl glacier goat goose grape guard
    guitar hammer harbour hat hedge helmet hill hook horse hotel house hunter iceberg insect island jacket jaguar
    jewel judge jug juggler jungle kangaroo kettle king kitchen kite knee knife ladder lake lamb lamp lawyer leaf
    leather lemon leopard library lion lizard lobster machine magician map market mask measure medal melon merchant
    method mirror monkey moon mountain mouse museum mushroom napkin nation needle neighbour nephew nurse oak ocean
    office onion orange orchard oven owl oyster package painter palace parrot path peach pearl pencil penguin pepper
    piano picture pigeon pillow pilot pirate planet plough pocket poet pony potato prince princess pudding pumpkin
    puppet puzzle quarrel quarry queen question rabbit radio raft raven ribbon river road robin rocket roof rope rug
    saddle sailor salad scholar school scientist shadow sheep shepherd ship shoe shovel singer sister skeleton sofa
    soldier song spider spoon squirrel station statue stove stranger student suitcase sweater table tailor teacher
    television theatre thief thing thistle throne thumb tiger toad tooth tower toy tractor train treasure trumpet
    tunnel turtle uncle valley vase vegetable village violin vision voice volcano voyage vulture wagon waiter watch
    wheel whistle widow window witch wizard wolf woman wolfhound yacht yard zebra zoo
""")

PLURAL = _words("""
    apples arrows babies bees beads bells birds biscuits books boots bowls boxes branches bubbles bugs candles cats
    charts cherries children choices clothes clouds coins colours cows crabs crayons cups daisies dishes dreams
    ducks earthquakes eyes feathers fields fingers flames forks games geese ghosts gloves grapes hands heroes ideas
    jars jewels journeys judges keys kings knives leaves legs lessons letters lights lions maps marbles measures
    messages mice months moths mouths neighbours noises notes nuts oysters papers peaches pebbles petals plans plums
    poems pictures puddings rings rivers roses sandwiches scissors shadows sheep shells shoes shops songs soldiers
    stars stones stories swords tables teeth thieves thoughts thumbs tools toys treasures trees vans visions voices
    volumes waves weeks wings wishes wolves wool_socks words worms years zebras
""")

MASS = _words("""
    air bread butter chalk cheese clay coffee copper cotton courage dust earth fog fruit glue gold grass gravel
    honey ice ink iron jam juice knowledge leather leisure lightning luggage mud music mustard noise oil paper
    patience pleasure poetry rain rice salt sand sawdust silk silver smoke snow soap soil soup steel straw sugar
    thunder time toffee truth vinegar water wealth weather wheat wood wool
""")

ADJECTIVE = _words("""
    able absurd ancient angry autumn awkward bad beige big bitter blue bold brave bright brown busy calm casual
    cautious cheap cheerful chilly clean clever cloudy clumsy coarse cold common cosy crooked cruel curious curly
    damp dark dear deep dirty distant drowsy dry dull eager early easy elder empty enormous equal fair faithful
    false famous fancy fat fearless fierce fifth foolish fragile fresh friendly frozen full funny gentle giant glad
    golden good grand grateful greasy great green grey grim happy harsh hasty heavy hidden hollow honest huge humble
    hungry idle jealous jolly joyful juicy keen kind large late lazy little lively lonely long loud lovely low loyal
    lucky massive mighty mild modern moist muddy mysterious narrow neat new nice noble noisy odd old orange other
    painful pale patient peculiar perfect plain pleasant polite poor precious pretty proud pure purple quaint queer
    quick quiet rapid rare raw red rich ripe rotten rough round royal rude rural rusty sad safe scarce serious shallow
    sharp shiny short shy silent silly simple sleepy slow small smooth soft sour southern spare splendid square
    stale steady steep stiff strange strict strong stupid sudden sunny sweet swift tall tame tender thick thin third
    thirsty tidy tiny tired total tough true ugly unusual usual vague vast violet vivid warm weak weird western wet
    white whole wicked wide wild wise wooden woollen worthy yellow young youthful zany
""")

VERB_PAST = _words("""
    abandoned admired asked attacked avoided baked bathed beat borrowed bothered bought brought brushed built burned
    called carried caught chased cherished chose cleaned climbed collected copied counted covered crushed damaged
    decided_on described destroyed discovered discussed drew dropped dug earned emptied enjoyed examined exchanged
    explored feared fed fetched filled finished fixed followed forged forgot found gathered gave_up guarded heard
    helped hid hugged hunted ignored imagined invented joined judged jumped_over kept kicked kissed knew led left
    lifted liked loathed looked_at lost loved managed measured mentioned met missed moved needed noticed obeyed
    offered opened ordered painted passed played poisoned polished praised promised pulled pushed put_away raised
    reached read received repaired returned robbed rubbed saved saw searched served shook shouted_at showed sketched
    sold spoiled spread squeezed stirred stole studied supposed tasted taught thanked threw tied took_away touched
    treasured tried trusted used visited viewed warned washed watched wished_for wore worshipped woke wrapped wrote
""")

VERB_BASE = _words("""
    abandon admire ask avoid bathe borrow bother bring brush build buy carry catch change choose clean clothe
    collect copy count cover describe destroy draw drop employ enjoy examine explore fetch fix follow forgive gather
    guard hear help hide ignore join judge keep kick know leave lift look_at love measure mention miss move need
    notice obey offer open paint pass play polish push put_out raise reach repair sell show smooth soothe spoil
    squeeze steal study taste teach thank touch treasure trust use view visit wash watch wear weigh write
""")

INTRANSITIVE = _words("""
    arrived asked began behaved bowed breathed changed coughed cried danced disappeared dozed fell flew frowned
    giggled grew hesitated hurried jumped knelt laughed lingered listened looked_up marched nodded paused prayed ran
    rejoiced rose sang sat_down shivered shook sighed slept slipped smiled sneezed spoke stood_up stumbled swam
    talked trembled turned_around vanished waited walked wandered waved whispered woke_up worked yawned
""")

ADVERB = _words("""
    again alone already always awkwardly badly bravely briefly calmly carefully casually early easily eagerly
    foolishly gently gladly gracefully happily hastily hourly joyfully lately loudly lovingly loyally merrily never
    noisily often once politely proudly quickly quietly rarely rather_slowly rudely sadly seldom silently slowly
    smoothly softly soon suddenly thoroughly together twice usually warmly wisely yearly yesterday
""")

PREPOSITION = _words("""
    above across after against along among around at before behind below beneath beside between beyond by during for
    from in inside into near off on onto outside over past through toward under underneath upon with within without
""")

DETERMINER = _words("""
    a the this that her his my our their your every each some another no either the_other one
""")

PLURAL_DETERMINER = _words("""
    the these those her his our their both two three four five six seven eight nine ten eleven twelve thirteen
    fourteen sixteen eighteen twenty thirty forty fifty a_thousand a_few many several all_the most_of_the
""")

PRONOUN = _words("I you he she we they it everybody nobody somebody anyone others")

PERSON = _words("""
    Aaron Abigail Agatha Albert Alfred Alice Amy Andrew Angela Anthony Arthur Audrey Barbara Basil Beatrice Benjamin
    Bernard Bruce Catherine Cecil Charles Charlotte Chloe Claude Daphne David Deborah Dennis Diana Dorothy Douglas
    Edgar Edith Edward Eleanor Elizabeth Emma Ethan Eugene Eve Felix Fiona Frances Frederick Geoffrey George Gerald
    Gloria Grace Graham Gwen Hannah Harold Hazel Heather Hector Helen Hugh Ian Irene Isaac Ivy Jack Jacob James Janet
    Jasper Jeremy Jessica Joan Jonathan Joseph Joyce Judith Julia Keith Kenneth Laura Lawrence Leonard Lillian Louise
    Lucy Luther Mabel Margaret Martha Martin Matthew Maude Michael Nancy Nathan Nigel Nora Norman Oliver Olive Oscar
    Owen Pamela Patrick Paul Philip Phoebe Ralph Rachel Rebecca Richard Robert Roger Roy Rupert Ruth Samuel Sarah
    Sheila Shirley Simon Stella Stephen Sybil Theodore Thelma Thomas Toby Ursula Valerie Vera Victor Vincent Violet
    Walter Wanda Wendy Wilfred William Yolanda Yvonne Zachary Zoe
""")

TITLE = _words("Mister Missus Doctor Professor Captain Judge Uncle Aunt Sir Lady Father Sergeant Cousin Young Old")

TIME = _words("""
    all_day all_year at_dawn at_last at_night at_noon before_breakfast by_accident by_chance each_March
    every_Thursday every_month for_a_while for_good for_the_third_time in_June in_July in_autumn in_the_evening
    in_theory last_February last_Wednesday long_ago next_month next_Tuesday on_Friday on_purpose once_a_year
    one_Saturday right_away since_childhood this_January this_morning this_week though_it_rained tonight
    until_August without_a_word
""")

ONSET = _words("b bl br ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sh sk sl sm sn sp st str sw t th thr")
ONSET += _words("tr tw v w wh y z")
NUCLEUS = _words("a ai ar ay e ee er i ie o oa oi oo or ou ow u ur aw ew")
MIDDLE = _words("b bb d dd dl g gg k l ll lv m mb mm mp n nd ng nt p pp r rr rth s sh sk sp ss st t tt th v z zz")
ENDING = _words("am an ard ath by den dge dle ell en er et field ford ham ick ield in ing ish ith le ley lock man mond")
ENDING += _words("ner nor on ow ridge sey shaw son sworth tch ther ton ton tree vale vidge vin well wick wood worth y")
